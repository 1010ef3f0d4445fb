-- The cells again, each once: parts of a file, and files, may share some.
SELECT
  step, grp, prompt, reward, min(first) AS first, CAST(sum(n) AS BIGINT) AS n,
  sum(advantage) AS advantage, CAST(sum(advantage_n) AS BIGINT) AS advantage_n, min(low) AS low, max(high) AS high,
  sum(length) AS length, CAST(sum(length_n) AS BIGINT) AS length_n,
  sum(logp) AS logp, CAST(sum(logp_n) AS BIGINT) AS logp_n
FROM cells
GROUP BY step, grp, prompt, reward
