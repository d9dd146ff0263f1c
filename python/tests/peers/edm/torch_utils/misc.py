def copy_params_and_buffers(src_module, dst_module, require_all):
    dst_module.load_state_dict(src_module.state_dict(), strict=require_all)
