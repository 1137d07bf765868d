"""Is an opened graph the one that its manifest names, and does it compute what torch computed?"""
