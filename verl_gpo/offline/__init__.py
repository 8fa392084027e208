"""GPO without a trainer: vLLM alone, for calibration and for Procedure II."""
