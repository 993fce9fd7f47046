(?s).*(exit|call).*
