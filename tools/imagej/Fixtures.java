// Writes one ROI file of each kind with ImageJ's own encoder: java -cp ij.jar Fixtures.java FOLDER
import ij.gui.*;
import ij.io.RoiEncoder;
import java.awt.*;
import java.nio.file.*;

public class Fixtures {
    static String folder;

    public static void main(String[] args) throws Exception {
        folder = args[0];
        save("rectangle", new Roi(12, 7, 31, 22));
        save("rectangle-sub-pixel", new Roi(3.5, 4.25, 10.5, 6.75));
        save("rectangle-rounded", new Roi(20, 30, 41, 27, 12));
        save("rectangle-rounded-more-than-whole", new Roi(-5, -3, 15, 9, 40));
        save("oval", new OvalRoi(5, 6, 37, 20));
        save("oval-one-pixel", new OvalRoi(2, 2, 1, 1));
        save("oval-sub-pixel", new OvalRoi(3.3, 4.6, 20.2, 15.9));
        int[] x = {10, 60, 33, 70, 5}, y = {10, 14, 30, 62, 55};
        save("polygon", new PolygonRoi(x, y, 5, Roi.POLYGON));
        save("polygon-crossing-itself", new PolygonRoi(new int[] {0, 40, 0, 40, 20}, new int[] {0, 30, 30, 0, 45}, 5, Roi.POLYGON));
        save("polygon-far", new PolygonRoi(new int[] {40000, 40020, 40007}, new int[] {33000, 33010, 33031}, 3, Roi.POLYGON));
        save("polygon-negative", new PolygonRoi(new int[] {-20, -3, -11}, new int[] {-9, -8, -2}, 3, Roi.POLYGON));
        float[] fx = {-8.3f, -1.2f, -4.9f}, fy = {-7.7f, -6.1f, -0.4f};
        save("polygon-negative-sub-pixel", new PolygonRoi(fx, fy, 3, Roi.POLYGON));
        save("traced", new PolygonRoi(new int[] {2, 6, 6, 9, 9, 2}, new int[] {1, 1, 3, 3, 8, 8}, 6, Roi.TRACED_ROI));
        float[] cx = new float[40], cy = new float[40];
        for (int i = 0; i < 40; i++) {
            double r = 20 + 6 * Math.sin(i * 1.7);
            cx[i] = (float) (50.37 + r * Math.cos(i * Math.PI / 20));
            cy[i] = (float) (41.61 + r * Math.sin(i * Math.PI / 20));
        }
        save("freehand-sub-pixel", new PolygonRoi(cx, cy, 40, Roi.FREEROI));
        float[] hx = {0.5f, 10.5f, 10.5f, 0.5f}, hy = {0.5f, 0.5f, 7.5f, 7.5f};
        save("polygon-through-centres", new PolygonRoi(hx, hy, 4, Roi.POLYGON));
        save("ellipse", new EllipseRoi(10, 12, 60, 43, 0.45));
        save("ellipse-beyond-border", new EllipseRoi(-12.5, 4, 14, -9.25, 0.8));
        save("rectangle-rotated", new RotatedRectRoi(10, 10, 50, 33, 17));
        save("rectangle-rotated-upright", new RotatedRectRoi(10, 40, 50, 40, 8));
        save("polyline", new PolygonRoi(x, y, 5, Roi.POLYLINE));
        save("freeline-sub-pixel", new PolygonRoi(cx, cy, 40, Roi.FREELINE));
        save("angle", new PolygonRoi(new int[] {1, 20, 44}, new int[] {30, 2, 19}, 3, Roi.ANGLE));
        save("line", new Line(3.25, 4.5, 40.75, 22.0));
        Line wide = new Line(3, 4, 40, 22);
        wide.setStrokeWidth(5);
        save("line-wide", wide);
        Arrow arrow = new Arrow(10, 12, 50, 40);
        arrow.setDoubleHeaded(true);
        arrow.setHeadSize(14);
        arrow.setStyle(Arrow.NOTCHED);
        save("arrow", arrow);
        save("point", new PointRoi(17, 23));
        PointRoi points = new PointRoi(new float[] {1.5f, 20.25f, 9f}, new float[] {3f, 7.75f, 30.5f}, 3);
        points.setPointType(2);
        save("points", points);
        TextRoi text = new TextRoi(14, 15, "heart\nleft", new Font("SansSerif", Font.BOLD, 16));
        save("text", text);
        spline("spline-polygon", new PolygonRoi(x, y, 5, Roi.POLYGON));
        spline("spline-freehand-sub-pixel", new PolygonRoi(cx, cy, 40, Roi.FREEROI));
        spline("spline-traced", new PolygonRoi(new int[] {2, 60, 60, 90, 90, 2}, new int[] {1, 1, 30, 30, 80, 80}, 6, Roi.TRACED_ROI));
        spline("spline-upright-polygon", new PolygonRoi(new int[] {2, 60, 60, 2}, new int[] {1, 1, 30, 30}, 4, Roi.POLYGON));
        spline("spline-polyline", new PolygonRoi(x, y, 5, Roi.POLYLINE));
        ShapeRoi ring = new ShapeRoi(new OvalRoi(10, 10, 50, 40));
        ring.not(new ShapeRoi(new Roi(25, 20, 12, 13)));
        save("composite-with-hole", ring);
        ShapeRoi parts = new ShapeRoi(new Roi(1, 2, 10, 5));
        parts.or(new ShapeRoi(new EllipseRoi(30, 30, 60, 44, 0.5)));
        parts.or(new ShapeRoi(new PolygonRoi(x, y, 5, Roi.POLYGON)));
        save("composite-of-parts", parts);
        save("composite-curved", new ShapeRoi(new java.awt.geom.Ellipse2D.Double(3.3, 4.4, 50.5, 31.1)));
        java.awt.geom.GeneralPath curve = new java.awt.geom.GeneralPath(0);
        curve.moveTo(5, 5);
        curve.quadTo(40, -10, 50, 30);
        curve.curveTo(20, 60, 80, 70, 10, 50);
        curve.closePath();
        save("composite-quadratic", new ShapeRoi(curve));
        Roi everything = new PolygonRoi(x, y, 5, Roi.POLYGON);
        everything.setName("cœur \u5fc3\u81d3 \ud83d\udc2d");
        everything.setStrokeColor(new Color(10, 20, 30, 40));
        everything.setFillColor(null);
        everything.setStrokeWidth(2.5);
        everything.setPosition(2, 7, 3);
        everything.setProperty("score", "0.93");
        everything.setProperty("model", "heart-standard");
        save(null, "everything", everything);
        Roi group = new Roi(1, 2, 3, 4);
        group.setGroup(3);
        group.setPosition(12);
        save("group", group);
        System.exit(0);
    }

    static void spline(String name, PolygonRoi roi) throws Exception {
        roi.fitSpline();
        save(name, roi);
    }

    static void save(String name, Roi roi) throws Exception {
        save(name, name, roi);
    }

    static void save(String name, String file, Roi roi) throws Exception {
        if (name != null) roi.setName(name);
        Files.write(Paths.get(folder, file + ".roi"), RoiEncoder.saveAsByteArray(roi));
    }
}
