"""What a pre-trained network says of text as it is, without any fine-tuning."""
