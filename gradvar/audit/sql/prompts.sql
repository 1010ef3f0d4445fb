-- Every prompt of the table of cells, numbered in the order of the rows, with where it stands first and how it begins.
SELECT
  row_number() OVER (ORDER BY min(first)) - 1 AS place, prompt, min(first) AS first, arg_min(beginning, first) AS beginning,
  arg_min(source, first) AS source, min(least_text) AS least_text, max(greatest_text) AS greatest_text
FROM cells
WHERE reason IS NULL
GROUP BY prompt
