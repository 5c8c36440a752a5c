-- A commit computes whole-node targets from the links in force at the nodes concerned, and from no others.
CREATE INDEX link_elements ON link USING gin ((placement->'elements')) WHERE in_force;
