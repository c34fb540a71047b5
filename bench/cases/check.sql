-- `skene_check`
SELECT * FROM skene_check('hot', 'export');
