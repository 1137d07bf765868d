"""The torch side: adapters beside the blocks of a frozen timm Vision Transformer."""
