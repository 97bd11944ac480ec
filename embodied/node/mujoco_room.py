"""The room of the simulated robot, as a MuJoCo model: a planar base with an arm on it, four walls, a few things.

The base is two slides and a hinge (x, y, yaw), driven by velocities, and not wheels in contact with the floor: how
tyres slip is not what is tested here. The arm has the proportions of a small hobby arm and follows positions.
Lengths in m, angles in rad, x forward, y to the left, z up (REP 103).
"""

BASE = ("base_x", "base_y", "base_yaw")
JOINTS = ("j1", "j2", "j3", "j4", "j5")
GRIPPER = "gripper"
"""0 is closed, 1 is open. Two slides move, this one leads."""
GRIPPER_OPEN = 0.06
"""Between the fingers, in m."""
LIDAR = "lidar"
CAMERA = "front"
TALL_DEG = 46.83
"""Vertical field of view of the camera: 60 degrees across at 4:3."""
ROBOT_GROUP = 1
"""All that is part of the robot: its own lidar does not see it."""
STEP_S = 0.005
RADIUS_M = 0.2
REST = {"j1": 0.0, "j2": -1.3, "j3": 2.5, "j4": 0.5, "j5": 0.0}
"""Folded, with the gripper above the front of the base."""

ROOM = f"""
<mujoco model="room">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{STEP_S}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual>
    <quality shadowsize="0" offsamples="0"/>
    <global offwidth="640" offheight="480"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.45 0.45 0.45" specular="0 0 0"/>
    <map znear="0.01" zfar="30"/>
  </visual>
  <asset>
    <texture name="tiles" type="2d" builtin="checker" rgb1="0.78 0.77 0.74" rgb2="0.68 0.67 0.64" width="64"
      height="64"/>
    <material name="tiles" texture="tiles" texrepeat="12 12"/>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.75 0.85 0.95" rgb2="0.45 0.6 0.8" width="32"
      height="192"/>
    <material name="wall" rgba="0.88 0.86 0.78 1"/>
    <material name="frame" rgba="0.20 0.28 0.40 1"/>
    <material name="link" rgba="0.92 0.55 0.12 1"/>
    <material name="dark" rgba="0.15 0.15 0.17 1"/>
  </asset>
  <default>
    <default class="robot"><geom group="{ROBOT_GROUP}"/></default>
    <default class="arm">
      <geom group="{ROBOT_GROUP}" contype="0" conaffinity="0" density="300"/>
      <joint damping="0.6" armature="0.02"/>
      <position kp="40" kv="3" forcerange="-12 12"/>
    </default>
    <default class="finger">
      <geom group="{ROBOT_GROUP}" type="box" size="0.012 0.004 0.025" friction="1.5 0.05 0.001" density="500"
        contype="2" conaffinity="2" material="dark"/>
      <joint type="slide" damping="4" armature="0.02"/>
    </default>
    <default class="thing"><geom contype="3" conaffinity="3" friction="0.9 0.02 0.001"/></default>
  </default>
  <worldbody>
    <light pos="0 0 4" dir="0 0 -1" castshadow="false" diffuse="0.4 0.4 0.4" specular="0 0 0"/>
    <geom name="floor" type="plane" size="3 3 0.1" material="tiles" contype="3" conaffinity="3"/>
    <geom name="wall_front" type="box" pos="3.05 0 0.4" size="0.05 3.1 0.4" material="wall"/>
    <geom name="wall_rear" type="box" pos="-3.05 0 0.4" size="0.05 3.1 0.4" material="wall"/>
    <geom name="wall_left" type="box" pos="0 3.05 0.4" size="3.1 0.05 0.4" rgba="0.75 0.83 0.72 1"/>
    <geom name="wall_right" type="box" pos="0 -3.05 0.4" size="3.1 0.05 0.4" rgba="0.78 0.74 0.84 1"/>
    <geom name="cupboard" type="box" pos="2.7 1.6 0.35" size="0.25 0.6 0.35" rgba="0.55 0.36 0.22 1"/>
    <geom name="column" type="cylinder" pos="-1.2 -1.8 0.4" size="0.15 0.4" rgba="0.55 0.55 0.58 1"/>
    <body name="ball" pos="1.6 -0.7 0.12">
      <freejoint/><geom type="sphere" size="0.12" mass="0.4" rgba="0.85 0.15 0.15 1" class="thing"/>
    </body>
    <body name="box" pos="1.9 0.75 0.15">
      <freejoint/><geom type="box" size="0.15 0.15 0.15" mass="3" rgba="0.15 0.35 0.75 1" class="thing"/>
    </body>
    <geom name="table" type="box" pos="0.6 -1.6 0.09" size="0.18 0.18 0.09" rgba="0.62 0.47 0.30 1" class="thing"/>
    <body name="cube" pos="0.46 -1.6 0.2">
      <freejoint/><geom type="box" size="0.02 0.02 0.02" mass="0.05" rgba="0.15 0.65 0.25 1" class="thing"/>
    </body>
    <body name="base" pos="0 0 0">
      <joint name="base_x" type="slide" axis="1 0 0"/>
      <joint name="base_y" type="slide" axis="0 1 0"/>
      <joint name="base_yaw" type="hinge" axis="0 0 1"/>
      <geom name="chassis" type="cylinder" pos="0 0 0.11" size="{RADIUS_M} 0.07" mass="12" material="frame"
        class="robot"/>
      <geom name="nose" type="box" pos="0.17 0 0.16" size="0.03 0.05 0.012" mass="0.1" material="link" class="robot"
        contype="0" conaffinity="0"/>
      <geom type="cylinder" pos="0 0.15 0.05" size="0.05 0.015" quat="0.7071 0.7071 0 0" mass="0.3" material="dark"
        class="robot" contype="0" conaffinity="0"/>
      <geom type="cylinder" pos="0 -0.15 0.05" size="0.05 0.015" quat="0.7071 0.7071 0 0" mass="0.3" material="dark"
        class="robot" contype="0" conaffinity="0"/>
      <geom type="cylinder" pos="-0.1 0 0.34" size="0.012 0.16" mass="0.1" material="dark" class="robot" contype="0"
        conaffinity="0"/>
      <site name="{LIDAR}" pos="0 0 0.14"/>
      <camera name="{CAMERA}" pos="-0.09 0 0.51" xyaxes="0 -1 0 0.24 0 0.97" fovy="{TALL_DEG}"/>
      <body name="turret" pos="0.08 0 0.18">
        <joint name="j1" class="arm" axis="0 0 1" range="-1.9 1.9"/>
        <geom type="cylinder" size="0.035 0.02" pos="0 0 0.02" class="arm" material="dark"/>
        <body name="upper" pos="0 0 0.05">
          <joint name="j2" class="arm" axis="0 1 0" range="-1.8 1.8"/>
          <geom type="capsule" fromto="0 0 0 0 0 0.14" size="0.018" class="arm" material="link"/>
          <body name="fore" pos="0 0 0.14">
            <joint name="j3" class="arm" axis="0 1 0" range="-0.2 2.8"/>
            <geom type="capsule" fromto="0 0 0 0 0 0.13" size="0.016" class="arm" material="link"/>
            <body name="wrist" pos="0 0 0.13">
              <joint name="j4" class="arm" axis="0 1 0" range="-1.8 1.8"/>
              <geom type="capsule" fromto="0 0 0 0 0 0.04" size="0.014" class="arm" material="dark"/>
              <body name="hand" pos="0 0 0.05">
                <joint name="j5" class="arm" axis="0 0 1" range="-2.8 2.8"/>
                <geom type="box" size="0.014 0.04 0.01" pos="0 0 0.005" class="arm" material="dark"/>
                <site name="tool" pos="0 0 0.045"/>
                <body name="finger_left" pos="0 0.004 0.04">
                  <joint name="{GRIPPER}" class="finger" axis="0 1 0" range="0 {GRIPPER_OPEN / 2}"/>
                  <geom class="finger"/>
                </body>
                <body name="finger_right" pos="0 -0.004 0.04">
                  <joint name="gripper_right" class="finger" axis="0 -1 0" range="0 {GRIPPER_OPEN / 2}"/>
                  <geom class="finger"/>
                </body>
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <equality><joint joint1="gripper_right" joint2="{GRIPPER}"/></equality>
  <actuator>
    <velocity name="base_x" joint="base_x" kv="1500"/>
    <velocity name="base_y" joint="base_y" kv="1500"/>
    <velocity name="base_yaw" joint="base_yaw" kv="60"/>
    <position name="j1" joint="j1" class="arm"/>
    <position name="j2" joint="j2" class="arm"/>
    <position name="j3" joint="j3" class="arm"/>
    <position name="j4" joint="j4" class="arm"/>
    <position name="j5" joint="j5" class="arm"/>
    <position name="{GRIPPER}" joint="{GRIPPER}" kp="300" kv="10" forcerange="-8 8"/>
  </actuator>
</mujoco>
"""
