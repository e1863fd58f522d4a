"""Figures, as ratios in one run. They are printed, never asserted: machines are noisy."""
