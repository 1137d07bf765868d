"""Tasks that come and go while requests are answered: generations, and loading beside traffic."""
