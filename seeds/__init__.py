"""Single runs over several seeds: `python3 -m seeds.summarise FOLDER...` gives their means and spread."""
