-- `skene_decide`, admitted, one hot customer
SELECT * FROM skene_decide('hot', 'export');
