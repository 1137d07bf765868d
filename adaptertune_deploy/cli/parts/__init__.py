"""What commands are made of: options that several share, checks of their values, and what one command hands on."""
