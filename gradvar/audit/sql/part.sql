-- Rows added up: sound ones by step, group, prompt and reward; the others by the reason why they are not.
SELECT
  sound, reason, step, grp, prompt, reward, min(number) AS first, count(*) AS n, $sums
  min(beginning) AS beginning, $descriptions,
  arg_min({'number': number, 'shown': shown}, number, $examples) FILTER (NOT sound) AS examples
FROM reduced
GROUP BY sound, reason, step, grp, prompt, reward
