-- The cells with numbers in place of keys, in the order in which the keys came.
WITH prompts AS (SELECT prompt, row_number() OVER (ORDER BY min(first), prompt) - 1 AS number FROM cells GROUP BY prompt),
groups AS (SELECT grp, row_number() OVER (ORDER BY min(first), grp) - 1 AS number FROM cells GROUP BY grp)
SELECT
  cells.* EXCLUDE (prompt, grp, first), prompts.number AS prompt,
  CASE WHEN cells.grp IS NULL THEN prompts.number ELSE groups.number END AS "group"
FROM cells JOIN prompts USING (prompt) LEFT JOIN groups USING (grp)
ORDER BY step, "group", reward, prompts.number
