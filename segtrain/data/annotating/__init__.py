"""Labels turned into the annotations that tools read back: COCO, CVAT, GeoJSON, labelme."""
