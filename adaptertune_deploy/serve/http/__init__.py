"""What is answered over HTTP, and to whom; how bytes come and go is in wire/."""
