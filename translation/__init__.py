"""What happens to pictures around a trained network: folders, large pictures, video, and models that leave home."""
