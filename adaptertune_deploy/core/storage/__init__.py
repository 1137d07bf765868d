"""How anything of this package lies on a disk: whole files, JSON, safetensors, the cache."""
