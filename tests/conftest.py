"""Being here puts this folder on the path of every test: `from fakes import FakeBench`."""
