"""The nouns: frozen, standard library only, no input or output. Imported from their modules: programs load few."""
