// The bracket of bracket.geo, coarser and 0.2 m thick.
// Made again by: gmsh -3 bracket3d.geo -format msh41 -o bracket3d.msh
SetFactory("OpenCASCADE");
arm = 0.3;
thick = 0.2;
Box(1) = {0, 0, 0, 1, arm, thick};
Box(2) = {0, 0, 0, arm, 1, thick};
BooleanUnion(3) = { Volume{1}; Delete; }{ Volume{2}; Delete; };
Cylinder(4) = {0.15, 0.5, 0, 0, 0, thick, 0.065};
Cylinder(5) = {0.15, 0.8, 0, 0, 0, thick, 0.065};
BooleanDifference(6) = { Volume{3}; Delete; }{ Volume{4, 5}; Delete; };

eps = 1e-6;
load() = Surface In BoundingBox {1 - eps, -eps, -eps, 1 + eps, arm + eps, thick + eps};
inlet() = Surface In BoundingBox {-eps, 1 - eps, -eps, arm + eps, 1 + eps, thick + eps};
holes() = Surface In BoundingBox {0.08, 0.43, -eps, 0.22, 0.57, thick + eps};
holes() += Surface In BoundingBox {0.08, 0.73, -eps, 0.22, 0.87, thick + eps};
wall() = Boundary { Volume{6}; };
wall() -= {load(), inlet(), holes()};

Physical Volume("steel") = {6};
Physical Surface("load") = {load()};
Physical Surface("inlet") = {inlet()};
Physical Surface("holes") = {holes()};
Physical Surface("wall") = {wall()};
Mesh.MeshSizeMin = 0.05;
Mesh.MeshSizeMax = 0.09;
Mesh.MeshSizeFromCurvature = 12;
