"""The benchmark of Benben beside its peers; bench/run is the front door."""
