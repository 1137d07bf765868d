"""Ranks side by side: what each costs and what it gains."""
