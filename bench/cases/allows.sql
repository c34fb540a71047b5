-- `skene_allows`
SELECT skene_allows('hot', 'export');
