-- Its prompt is not: one for all who were denied.
SELECT user_id, feature, kind, state, denials FROM skene.prompts;
