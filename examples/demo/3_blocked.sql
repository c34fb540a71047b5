-- One more request, in the form that raises an error. Its transaction is gone:
BEGIN;
SELECT skene_require('acme', 'api_features');
\echo SQLSTATE :LAST_ERROR_SQLSTATE
ROLLBACK;
