"""Data that this project draws by itself, for where the real data cannot be had."""
