-- C function that returns a constant `skene_decision`
SELECT * FROM bench.constant_decision('hot', 'export');
