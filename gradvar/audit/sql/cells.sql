CREATE OR REPLACE TEMP TABLE cells (
  step BIGINT, grp VARCHAR, prompt VARCHAR, reward DOUBLE, first BIGINT, n BIGINT,
  advantage DOUBLE, advantage_n BIGINT, low DOUBLE, high DOUBLE,
  length DOUBLE, length_n BIGINT, logp DOUBLE, logp_n BIGINT
)
