"""What every command shows and says: progress, tables, help, mistakes, interrupts, completion."""
