// An L-shaped bracket with a fillet and two bolt holes, in metres.
// Made again by: gmsh -2 bracket.geo -format msh41 -o bracket.msh
size = 0.032;
arm = 0.3;
fillet = 0.12;

Point(1) = {0, 0, 0, size};
Point(2) = {1, 0, 0, size};
Point(3) = {1, arm, 0, size};
Point(4) = {arm + fillet, arm, 0, 0.6 * size};
Point(5) = {arm, arm + fillet, 0, 0.6 * size};
Point(6) = {arm, 1, 0, size};
Point(7) = {0, 1, 0, size};
Point(8) = {arm + fillet, arm + fillet, 0};

Line(1) = {1, 2};
Line(2) = {2, 3};
Line(3) = {3, 4};
Circle(4) = {4, 8, 5};
Line(5) = {5, 6};
Line(6) = {6, 7};
Line(7) = {7, 1};
Curve Loop(1) = {1, 2, 3, 4, 5, 6, 7};

// The holes: centre, radius.
radius = 0.065;
For hole In {0 : 1}
  x = 0.15;
  y = 0.5 + 0.3 * hole;
  p = 20 + 10 * hole;
  Point(p) = {x, y, 0};
  Point(p + 1) = {x + radius, y, 0, 0.6 * size};
  Point(p + 2) = {x, y + radius, 0, 0.6 * size};
  Point(p + 3) = {x - radius, y, 0, 0.6 * size};
  Point(p + 4) = {x, y - radius, 0, 0.6 * size};
  Circle(p + 1) = {p + 1, p, p + 2};
  Circle(p + 2) = {p + 2, p, p + 3};
  Circle(p + 3) = {p + 3, p, p + 4};
  Circle(p + 4) = {p + 4, p, p + 1};
  Curve Loop(2 + hole) = {p + 1, p + 2, p + 3, p + 4};
EndFor

Plane Surface(1) = {1, 2, 3};

Physical Curve("wall") = {1, 3, 4, 5, 7};
Physical Curve("load") = {2};
Physical Curve("inlet") = {6};
Physical Curve("holes") = {21, 22, 23, 24, 31, 32, 33, 34};
Physical Surface("steel") = {1};
