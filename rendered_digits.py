def render_dataset():
    raise NotImplementedError
