-- `skene_decide`, denied
SELECT * FROM skene_decide('full', 'trial');
