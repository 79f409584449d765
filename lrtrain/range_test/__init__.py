"""The learning-rate range test: `lrtrain.find_lr`, its curve and its picture."""
