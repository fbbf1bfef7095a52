"""What happens to a picture on its way through a trained network, outside of the network."""
