// Compares our masks with ImageJ's: java -cp ij.jar Judge.java FOLDER
// For each NAME.roi there is NAME.pgm (P5, 0 or 255). Writes NAME.points: the coordinates that ImageJ read, for judge.py.
import ij.gui.*;
import ij.io.RoiDecoder;
import ij.process.*;
import java.awt.Rectangle;
import java.io.*;
import java.nio.file.*;

public class Judge {
    public static void main(String[] args) throws Exception {
        int wrong = 0, n = 0;
        for (File file : new File(args[0]).listFiles((d, name) -> name.endsWith(".roi"))) {
            String stem = file.getPath().substring(0, file.getPath().length() - 4);
            Roi roi = new RoiDecoder(file.getPath()).getRoi();
            byte[] pgm = Files.readAllBytes(Paths.get(stem + ".pgm"));
            String[] header = new String(pgm, 0, Math.min(pgm.length, 40), "ISO-8859-1").split("\\s+");
            int width = Integer.parseInt(header[1]), height = Integer.parseInt(header[2]);
            int base = pgm.length - width * height;
            ImageProcessor mask = roi.getMask();
            Rectangle b = roi.getBounds();
            int differ = 0;
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    boolean theirs = b.contains(x, y) && roi.isArea() && (mask == null || mask.get(x - b.x, y - b.y) != 0);
                    if (theirs != (pgm[base + y * width + x] != 0)) differ++;
                }
            if (differ > 0) {
                wrong++;
                System.err.println(file.getName() + ": " + differ + " pixels differ from ImageJ's");
            }
            FloatPolygon p = roi.getFloatPolygon();
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < p.npoints; i++) text.append(p.xpoints[i]).append(' ').append(p.ypoints[i]).append('\n');
            Files.write(Paths.get(stem + ".points"), text.toString().getBytes());
            n++;
        }
        System.out.println("ImageJ: " + n + " ROIs, " + wrong + " differ");
        System.exit(wrong > 0 || n == 0 ? 1 : 0);
    }
}
