"""What money, quotas and bills mean: pure rules, exact decimals, time passed in."""
