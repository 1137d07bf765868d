"""What people look at: pictures made of facts that others measured; the only home of matplotlib."""
