// Prints what ImageJ reads from ROI files, one JSON line a ROI: java -cp ij.jar Describe.java FOLDER FILE...
// The files are named relative to FOLDER. "runs" are lengths of runs outside and inside of the mask in turn, row by row through the
// box, beginning outside; absent where no mask could be as large.
import ij.gui.*;
import ij.io.RoiDecoder;
import ij.process.ImageProcessor;
import java.awt.Rectangle;
import java.io.*;
import java.nio.file.*;
import java.util.*;
import java.util.zip.*;

public class Describe {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
        for (int i = 1; i < args.length; i++) {
            byte[] bytes = Files.readAllBytes(Paths.get(args[0], args[i]));
            if (!args[i].endsWith(".zip")) {
                out.println(describe(args[i], "", Paths.get(args[i]).getFileName().toString(), bytes));
                continue;
            }
            ZipInputStream zip = new ZipInputStream(new ByteArrayInputStream(bytes));
            for (ZipEntry entry; (entry = zip.getNextEntry()) != null; )
                if (entry.getName().endsWith(".roi"))
                    out.println(describe(args[i], entry.getName(), entry.getName(), zip.readAllBytes()));
        }
        System.exit(0);
    }

    static String describe(String file, String entry, String name, byte[] bytes) throws IOException {
        Roi roi = new RoiDecoder(bytes, name).getRoi();
        Rectangle b = roi.getBounds();
        long[] pixels = new long[1];
        String runs = roi.isArea() ? runs(roi, b, pixels) : "null";
        return "{\"file\":" + quote(file) + ",\"entry\":" + quote(entry) + ",\"name\":" + quote(roi.getName())
            + ",\"type\":" + quote(roi.getTypeAsString()) + ",\"class\":" + quote(roi.getClass().getSimpleName())
            + ",\"bounds\":[" + b.x + "," + b.y + "," + b.width + "," + b.height + "]"
            + ",\"n\":" + roi.getFloatPolygon().npoints + ",\"isArea\":" + roi.isArea() + ",\"maskPixels\":" + pixels[0]
            + ",\"position\":" + roi.getPosition() + ",\"c\":" + roi.getCPosition() + ",\"z\":" + roi.getZPosition()
            + ",\"t\":" + roi.getTPosition() + ",\"group\":" + roi.getGroup()
            + ",\"strokeColor\":" + (roi.getStrokeColor() == null ? "null" : quote(String.format("%08x", roi.getStrokeColor().getRGB())))
            + ",\"props\":" + (roi.getProperties() == null ? "null" : quote(roi.getProperties()))
            + ",\"runs\":" + runs + "}";
    }

    static String runs(Roi roi, Rectangle b, long[] pixels) {
        ImageProcessor mask = roi.getMask();
        StringBuilder text = new StringBuilder("[");
        long length = 0;
        boolean current = false;
        for (int y = 0; y < b.height; y++)
            for (int x = 0; x < b.width; x++) {
                boolean inside = mask == null || mask.get(x, y) != 0;
                if (inside) pixels[0]++;
                if (inside != current) {
                    text.append(length).append(',');
                    length = 0;
                    current = inside;
                }
                length++;
            }
        return text.append(length).append(']').toString();
    }

    static String quote(String s) {
        StringBuilder text = new StringBuilder("\"");
        for (char c : s.toCharArray())
            if (c == '"' || c == '\\') text.append('\\').append(c);
            else if (c < 32) text.append(String.format("\\u%04x", (int) c));
            else text.append(c);
        return text.append('"').toString();
    }
}
