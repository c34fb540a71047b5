-- By hand, one hot customer
SELECT app.consume('hot', 'export', 1000000000);
