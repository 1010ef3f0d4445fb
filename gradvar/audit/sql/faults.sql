-- Rows that are not sound, by the reason why, with the first of them.
SELECT
  false AS sound, reason, min(number) AS first, count(*) AS n,
  arg_min({'number': number, 'shown': shown}, number, $examples) AS examples
FROM reduced
WHERE NOT sound
GROUP BY reason
