"""What the server says about its own endpoints: an OpenAPI description, and a page of it."""
