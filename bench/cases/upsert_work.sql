-- By hand, one hot customer, 5 ms of other work in the transaction
BEGIN;
SELECT app.consume('hot', 'export', 1000000000);
SELECT pg_sleep(0.005);
COMMIT;
