-- A transfer is a job like others; its vehicles are job_items. Nothing ever wrote here.
DROP TABLE IF EXISTS transfers;
