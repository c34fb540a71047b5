-- `skene_consume`, one hot customer, 5 ms of other work in the transaction
BEGIN;
SELECT skene_consume('hot', 'export');
SELECT pg_sleep(0.005);
COMMIT;
