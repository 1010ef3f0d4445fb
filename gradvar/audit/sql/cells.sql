-- The same of many rows, as a table: what is not sound is counted by its reason only.
SELECT
  reason, step, $group prompt, reward, min(number) AS first, count(*) AS n, $sums
  min(beginning) AS beginning, $descriptions
FROM reduced
GROUP BY reason, step, $group prompt, reward
