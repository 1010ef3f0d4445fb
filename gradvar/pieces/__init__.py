"""What estimators are made of: pure functions of arrays, put together by ``gradvar.core.compose``."""
