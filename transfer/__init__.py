"""What a student sees, hears and is corrected by, where that is not what section 3 of the paper says."""
