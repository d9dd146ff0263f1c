def update_ema(target_params, source_params, rate):
    for target, source in zip(target_params, source_params):
        target.detach().lerp_(source.detach(), 1 - rate)
