"""How the models and corpora of this project are made; not in the wheel."""
