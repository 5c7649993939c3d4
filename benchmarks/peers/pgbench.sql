BEGIN;
WITH due AS (
    SELECT id FROM twin_job
    WHERE queue = 'default' AND due_at <= now()
    ORDER BY priority DESC, due_at LIMIT 50 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE twin_job SET
        state = 'running', due_at = now() + interval '1 minute',
        worker = 'client :client_id', started_at = now()
    WHERE id IN (SELECT id FROM due) RETURNING id
)
SELECT coalesce(string_agg(id::text, ','), '0') AS ids FROM claimed \gset
COMMIT;
BEGIN;
INSERT INTO twin_run (job_id, number, started_at, finished_at, worker, error, traceback)
    SELECT id, retry_count + 1, started_at, clock_timestamp(), worker, '', ''
    FROM twin_job WHERE id IN (:ids);
UPDATE twin_job SET state = 'succeeded', due_at = NULL, finished_at = now()
    WHERE id IN (:ids) AND state = 'running' AND worker = 'client :client_id';
COMMIT;
